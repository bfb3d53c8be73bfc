"""From a request in measured units (profiles, demand, fleet, settings) to a Problem in integers."""
