package main

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// eachFlag calls f for every flag of every command.
func eachFlag(c *cobra.Command, f func(c *cobra.Command, flag *pflag.Flag)) {
	c.Flags().VisitAll(func(flag *pflag.Flag) { f(c, flag) })
	for _, sub := range c.Commands() {
		eachFlag(sub, f)
	}
}

// Every flag that takes a number, but for seeds, refuses those that no use of it can mean.
func TestNumbersAreBounded(t *testing.T) {
	numbers := 0
	eachFlag(rootCommand(), func(c *cobra.Command, flag *pflag.Flag) {
		var bad []string
		switch flag.Value.Type() {
		case "int":
			bad = []string{"-9223372036854775808", "-1", "9223372036854775807"}
		case "intSlice":
			bad = []string{"-9223372036854775808", "1,-1", "1,9223372036854775807"}
		case "float64":
			bad = []string{"-Inf", "-1", "Inf", "NaN", "1e300"}
		}
		for _, v := range bad {
			numbers++
			if err := c.Flags().Set(flag.Name, v); err == nil {
				t.Errorf("%s --%s %s is no error", c.CommandPath(), flag.Name, v)
			}
		}
	})
	if numbers < 90 {
		t.Errorf("%d numbers tried, want those of all flags", numbers)
	}
	for _, c := range []struct {
		want string
		args []string
	}{
		{"--predict is 9223372036854775807, want 1 to 1048576 (see 'convae bench --help')", []string{"bench", "--predict", "9223372036854775807"}},
		{"--predict is 1048576, want at most 342392: a sample of model \"denoiser\" has 784 values", []string{"bench", "--predict", "1048576", "--device", "cpu"}},
		{"--quantile is 0, want more than 0 and at most 1", []string{"anomalies", "--quantile", "0"}},
		{"--size is 4,0, want 1 to 16384", []string{"data", "--size", "4,0"}},
		{"--learning-rate is NaN, want more than 0 and at most 1000000", []string{"train", "--learning-rate", "NaN"}},
		{"--limit is -3, want 0 to 1000000000", []string{"train", "--limit", "-3"}},
	} {
		if _, _, err := run(t, c.args...); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: error %v, want %q", c.args, err, c.want)
		}
	}
}

// An empty value or argument is that of a shell's variable that is not set: it is never the default.
func TestEmptyValuesAreErrors(t *testing.T) {
	texts := 0
	eachFlag(rootCommand(), func(c *cobra.Command, flag *pflag.Flag) {
		if !strings.HasPrefix(flag.Value.Type(), "string") {
			return
		}
		texts++
		if err := c.Flags().Set(flag.Name, ""); err == nil {
			t.Errorf("%s --%s '' is no error", c.CommandPath(), flag.Name)
		}
	})
	if texts < 50 {
		t.Errorf("%d flags tried, want all that take text", texts)
	}
	for _, c := range []struct {
		want string
		args []string
	}{
		{`--data is "", want a value that is not empty: leave the flag out for its default (see 'convae train --help')`, []string{"train", "--data", ""}},
		{`--resume is "", want a value that is not empty`, []string{"train", "--resume="}},
		{"argument 1 of convae train is empty: is a variable not set?", []string{"train", ""}},
		{"argument 1 of convae eval is empty", []string{"eval", ""}},
	} {
		if _, _, err := run(t, c.args...); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: error %v, want %q", c.args, err, c.want)
		}
	}
}
