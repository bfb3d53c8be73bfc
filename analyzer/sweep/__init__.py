"""Run a sweep: its settings and job, the loading of models, the trials, and the devices it runs on."""
