"""The features of the server: requests and notifications, each around a function that knows no protocol."""
