"""Forecast what every virtual machine will need over the next hour, as joint distributions."""
