#!/bin/sh
bootstrap_id={{ bootstrap_id }}
