package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// boundsError says which numbers a flag takes.
type boundsError string

func (e boundsError) Error() string { return "want " + string(e) }

// bounded is the value of a flag that takes numbers of least to most, or above least.
type bounded struct {
	pflag.Value
	least, most float64
	above       bool
}

// within bounds the numbers that a flag takes, or each of a list of numbers: least to most.
func within(fs *pflag.FlagSet, name string, least, most float64) {
	f := fs.Lookup(name)
	f.Value = &bounded{Value: f.Value, least: least, most: most}
}

// above bounds the numbers that a flag takes: more than least, up to most.
func above(fs *pflag.FlagSet, name string, least, most float64) {
	f := fs.Lookup(name)
	f.Value = &bounded{Value: f.Value, least: least, most: most, above: true}
}

// Set takes a number, or numbers with commas between them.
func (b *bounded) Set(text string) error {
	if err := b.Value.Set(text); err != nil {
		return err
	}
	for _, number := range strings.Split(text, ",") {
		v, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if err != nil {
			continue // in a notation of whole numbers, such as 0x10, which the value has read
		}
		if !(v >= b.least && v <= b.most) || b.above && v == b.least {
			return boundsError(b.text())
		}
	}
	return nil
}

func (b *bounded) text() string {
	if b.above {
		return fmt.Sprintf("more than %s and at most %s", plain(b.least), plain(b.most))
	}
	return fmt.Sprintf("%s to %s", plain(b.least), plain(b.most))
}

// plain writes a number without an exponent.
func plain(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

// choice is the value of a flag that takes one of a few texts.
type choice struct {
	pflag.Value
	list []string
}

// among bounds the texts that a flag takes.
func among[S ~string](fs *pflag.FlagSet, name string, list []S) {
	f := fs.Lookup(name)
	f.Value = choice{f.Value, texts(list)}
}

func (c choice) Set(text string) error {
	if !slices.Contains(c.list, text) {
		return fmt.Errorf("want one of %s", strings.Join(c.list, ", "))
	}
	return c.Value.Set(text)
}

// texts are values of a type of texts.
func texts[S ~string](list []S) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = string(s)
	}
	return out
}

// precisionFlag adds the flag of training.precision.
func precisionFlag(fs *pflag.FlagSet, v *string) {
	fs.StringVar(v, "precision", "", "what factors are rounded to before they are multiplied: float32, or tf32 or bf16, which tensor cores multiply; in bf16 activations are kept so too; or winograd, with which a CPU makes convolutions of 3x3 faster in float32, with more rounding; a run goes on in its own")
}

// filled is the value of a flag that takes any text but none.
type filled struct{ pflag.Value }

var errEmpty = errors.New("want a value that is not empty: leave the flag out for its default")

// Set refuses the empty text, which a variable of a shell that is not set leaves.
func (f filled) Set(text string) error {
	if text == "" {
		return errEmpty
	}
	return f.Value.Set(text)
}

// refuseEmpty makes the empty text an error of every flag that takes text, in a command and those below it.
func refuseEmpty(c *cobra.Command) {
	c.Flags().VisitAll(func(f *pflag.Flag) {
		if strings.HasPrefix(f.Value.Type(), "string") {
			f.Value = filled{f.Value}
		}
	})
	for _, sub := range c.Commands() {
		refuseEmpty(sub)
	}
}
