"""Records of measurements, the store and the CSV files that keep them, and the tables and figures that show them."""

# Names of the files in an output folder of `analyze`.
STORE_FILE = "measurements.sqlite"
MODEL_CSV = "metrics-model.csv"
SERVER_ONLY_CSV = "metrics-server-only.csv"
