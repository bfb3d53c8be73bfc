"""How well plans and predictions hold, measured with models that contend for the processors."""
