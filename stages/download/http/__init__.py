"""HTTP for downloads: names to checked addresses, one request, its response, redirects and retries around it."""
