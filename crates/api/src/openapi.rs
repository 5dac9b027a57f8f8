//! OpenAPI 3.1 of the route table: placeholder, filled next.
