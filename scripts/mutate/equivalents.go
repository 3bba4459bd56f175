package main

// equivalents are mutants that no check can find, with the reason.
var equivalents = map[string]string{}
