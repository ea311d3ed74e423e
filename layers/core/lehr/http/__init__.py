"""The endpoint's HTTP: requests and answers as API Gateway has them, a route table, and refusals."""
