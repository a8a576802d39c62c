"""Work that outgrows one machine, on Ray: functions over rows of data sets, and workers that measurements take."""
