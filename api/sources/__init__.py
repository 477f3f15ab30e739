"""Where events come from besides HTTP requests: brokers whose messages are pulled, posted, and then acknowledged."""
