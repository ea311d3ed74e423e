"""What the endpoint's benchmarks and its suites from outside stand on: store, models, processes, one core, figures."""
