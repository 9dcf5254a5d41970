"""The parts of data generation: topics, requests, answers, budget, checks."""
