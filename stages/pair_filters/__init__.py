"""What pairs are judged by beside their sizes: rules of the user's own, and measures of captions and pictures."""
