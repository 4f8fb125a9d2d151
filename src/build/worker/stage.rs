//! `/opt/mesosphere` of one build: its dependencies, installed.
