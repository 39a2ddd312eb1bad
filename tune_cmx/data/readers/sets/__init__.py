"""Readers of single data sets, each in the form in which its authors give it out."""
