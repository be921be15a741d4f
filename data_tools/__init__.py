"""Preparation of records: releases, the embedded corpus, and the records themselves."""
