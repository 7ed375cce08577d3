"""Look-up of pictures and clips by the names under which records refer to them."""
