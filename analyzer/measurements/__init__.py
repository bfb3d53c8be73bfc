"""What was measured: records, where they are kept, and how they are shown."""

# Files of an output folder of analyze.
STORE_FILE = "measurements.sqlite"
MODEL_CSV = "metrics-model.csv"
SERVER_ONLY_CSV = "metrics-server-only.csv"
