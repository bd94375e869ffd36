"""The one key pair the simulated exchanges accept. It opens nothing else."""

API_KEY = "simulated-key"
SECRET = "simulated-secret"
