"""The steps of data_tools.prepare: settings, splits, extraction, worker jobs, Beam."""
