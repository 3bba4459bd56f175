//go:build !cuda || !linux

package main

// buildTags are the tags that the test is built with.
var buildTags []string
