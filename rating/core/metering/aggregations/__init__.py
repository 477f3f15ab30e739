"""The aggregations that make one quantity of all usage together, one a file: rule, edges, worked example."""
