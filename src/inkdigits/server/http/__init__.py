"""HTTP/1.1 as this service speaks it: connections, bodies, keys and rates, problem documents, the API's description."""
