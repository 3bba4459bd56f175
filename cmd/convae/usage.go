package main

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/convae/convae/trainer"
)

// valueTexts say what a flag of each type wants.
var valueTexts = map[string]string{
	"int": "a whole number", "uint64": "a whole number of 0 or more", "float64": "a number", "bool": "true or false",
	"intSlice": "whole numbers, as 1,2", "float64Slice": "numbers, as 1e-6,10", "duration": "a time, as 30s",
}

// flagError says what to write instead of a flag that cannot be.
func flagError(c *cobra.Command, err error) error {
	var value *pflag.InvalidValueError
	var missing *pflag.ValueRequiredError
	var unknown *pflag.NotExistError
	switch {
	case errors.As(err, &value):
		f := value.GetFlag()
		want, ok := valueTexts[f.Value.Type()]
		var bounds boundsError
		if errors.Is(err, strconv.ErrRange) {
			want += " that is not so large"
		}
		switch {
		case errors.As(err, &bounds):
			err = fmt.Errorf("--%s is %s, %w", f.Name, value.GetValue(), bounds)
		case ok:
			err = fmt.Errorf("--%s is %q, want %s", f.Name, value.GetValue(), want)
		default:
			err = fmt.Errorf("--%s is %q, %w", f.Name, value.GetValue(), value.Unwrap())
		}
	case errors.As(err, &missing):
		f := missing.GetFlag()
		_, usage := pflag.UnquoteUsage(f)
		err = fmt.Errorf("--%s needs a value: %s", f.Name, usage)
	case errors.As(err, &unknown) && unknown.GetSpecifiedShortnames() == "":
		var names []string
		c.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
		if near := trainer.Nearest(unknown.GetSpecifiedName(), names); near != "" {
			err = fmt.Errorf("%w, perhaps --%s", err, near)
		}
	}
	return fmt.Errorf("%w (see '%s --help')", err, c.CommandPath())
}

// many is the most arguments of a command that takes any number.
const many = math.MaxInt

// arguments checks the number of a command's arguments.
func arguments(least, most int) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if i := slices.Index(args, ""); i >= 0 {
			return fmt.Errorf("argument %d of %s is empty: is a variable not set?", i+1, c.CommandPath())
		}
		if len(args) >= least && len(args) <= most {
			return nil
		}
		number := fmt.Sprint(most)
		switch {
		case most == many:
			number = fmt.Sprintf("at least %d", least)
		case least < most:
			number = "at most " + number
		}
		noun := "arguments"
		if most == 1 {
			noun = "argument"
		}
		_, form, _ := strings.Cut(c.Use, " ")
		switch {
		case most == 0:
			return fmt.Errorf("%s takes no argument; found %q", c.CommandPath(), args)
		case len(args) == 0:
			return fmt.Errorf("%s takes %s %s, %s; found none", c.CommandPath(), number, noun, form)
		}
		return fmt.Errorf("%s takes %s %s, %s; found %d: %q", c.CommandPath(), number, noun, form, len(args), args)
	}
}

// helpCommand takes the place of the library's, which has no error for a command that there is not.
func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Print what a command does and takes",
		ValidArgsFunction: func(c *cobra.Command, args []string, _ string) (names []cobra.Completion, _ cobra.ShellCompDirective) {
			for _, sub := range c.Root().Commands() {
				if len(args) == 0 && sub.IsAvailableCommand() {
					names = append(names, cobra.CompletionWithDesc(sub.Name(), sub.Short))
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(c *cobra.Command, args []string) error {
			found, rest, err := c.Root().Find(args)
			if err == nil {
				err = noCommand(found, rest)
			}
			if err != nil {
				return err
			}
			found.InitDefaultHelpFlag() // which the help tells of
			return found.Help()
		},
	}
}

// noCommand reports the name of a command that there is not.
func noCommand(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var names []string
	for _, sub := range c.Commands() {
		names = append(names, sub.Name())
	}
	near := trainer.Nearest(args[0], names)
	if near != "" {
		near = ", perhaps " + near
	}
	return fmt.Errorf("there is no command %q%s (see '%s --help')", args[0], near, c.CommandPath())
}
