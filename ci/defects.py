#!/usr/bin/env python3
"""Prints the name of every planted defect, one a line."""

import os
import tomllib

HERE = os.path.dirname(os.path.abspath(__file__))

with open(os.path.join(HERE, "../fixtures/defects/defects.toml"), "rb") as file:
    for defect in tomllib.load(file)["defect"]:
        print(defect["name"])
