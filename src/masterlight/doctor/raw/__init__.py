"""Diagnoses of raw frames that look closer than at a sample of each: at the pixels of a set, place by place."""
