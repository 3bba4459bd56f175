package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/convae/convae/nn"
	"github.com/convae/convae/nn/onnx"
	"github.com/convae/convae/trainer"
	"github.com/convae/convae/trainer/exchange"
)

// shells are those that can complete, with what writes the script of each.
var shells = []struct {
	name  string
	write func(root *cobra.Command, w io.Writer, described bool) error
}{
	{"bash", (*cobra.Command).GenBashCompletionV2},
	{"zsh", func(root *cobra.Command, w io.Writer, described bool) error {
		if described {
			return root.GenZshCompletion(w)
		}
		return root.GenZshCompletionNoDesc(w)
	}},
	{"fish", (*cobra.Command).GenFishCompletion},
	{"powershell", func(root *cobra.Command, w io.Writer, described bool) error {
		if described {
			return root.GenPowerShellCompletionWithDesc(w)
		}
		return root.GenPowerShellCompletion(w)
	}},
}

// completionCommand takes the place of the library's, which has no error for a shell that it does not know.
func completionCommand() *cobra.Command {
	var names []string
	for _, s := range shells {
		names = append(names, s.name)
	}
	var bare bool
	c := &cobra.Command{
		Use:   "completion " + strings.Join(names, "|"),
		Short: "Write the script by which a shell completes commands, flags and their values",
		Long: `Write the script by which a shell completes commands, flags, presets, runs, devices and losses. The shell asks the program itself,
which has to be called convae and to lie in a folder of the PATH. In bash that takes the package bash-completion besides.

  source <(convae completion bash)              in ~/.bashrc
  source <(convae completion zsh)               in ~/.zshrc, behind: autoload -U compinit; compinit
  convae completion fish | source               in ~/.config/fish/config.fish
  convae completion powershell | Out-String | Invoke-Expression`,
		ValidArgs: names,
		Args:      arguments(1, 1),
		RunE: func(c *cobra.Command, args []string) error {
			for _, s := range shells {
				if s.name == args[0] {
					return s.write(c.Root(), c.OutOrStdout(), !bare)
				}
			}
			return fmt.Errorf("there is no completion for %q%s", args[0], trainer.Advice(args[0], names, "; want one of"))
		},
	}
	c.Flags().BoolVar(&bare, "no-descriptions", false, "offer names without what they are")
	return c
}

// completions are what a shell offers for the value of a flag, on all commands that have one of that name.
var completions = map[string]func() []string{
	"device":    deviceNames,
	"against":   deviceNames,
	"data":      trainer.DataNames,
	"loss":      nn.LossNames,
	"optimizer": nn.OptimizerNames,
	"precision": func() []string { return []string{"float32", "tf32", "bf16"} },
	"schedule":  func() []string { return []string{"constant", "cosine", "plateau"} },
	"launcher":  func() []string { return []string{"auto", "mpi", "env", "none"} },
	"split":     func() []string { return []string{"test", "train"} },
	"score":     func() []string { return []string{"mean", "max"} },
	"log":       func() []string { return []string{"auto", "bar", "lines", "json"} },
	"names":     func() []string { return texts(exchange.Namings()) },
	"part":      func() []string { return texts(onnx.Parts()) },
	"layout":    func() []string { return texts(onnx.Layouts()) },
	"model":     runFolders,
	"resume":    runFolders,
	"init":      runFolders,
	"compare":   runFolders,
	"config":    configurations,
}

// addCompletions has shells offer values of flags and arguments, by what the command's usage calls these.
func addCompletions(root *cobra.Command) {
	for _, c := range root.Commands() {
		for name, values := range completions {
			if c.Flags().Lookup(name) == nil {
				continue
			}
			if err := c.RegisterFlagCompletionFunc(name, offering(values, 0)); err != nil {
				panic(err) // the flag was looked up
			}
		}
		_, form, _ := strings.Cut(c.Use, " ")
		switch {
		case c.Name() == "presets":
			c.ValidArgsFunction = offering(trainer.Presets, 1)
		case strings.HasPrefix(form, "[PRESET"):
			c.ValidArgsFunction = offering(configurations, 1)
		case strings.Contains(form, "| PRESET"):
			c.ValidArgsFunction = offering(func() []string { return append(runFolders(), configurations()...) }, 1)
		case c.Name() == "diff":
			c.ValidArgsFunction = offering(func() []string { return append(runFolders(), configurations()...) }, 2)
		case strings.HasPrefix(form, "[RUN"):
			c.ValidArgsFunction = offering(runFolders, 1)
		case c.Name() == "data":
			c.ValidArgsFunction = offering(trainer.DataNames, 1)
		}
	}
}

// offering completes a word with values, those of the first arguments alone if their number is not 0, and where none of them begins so with the files that
// there are.
func offering(values func() []string, arguments int) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, word string) (fit []cobra.Completion, _ cobra.ShellCompDirective) {
		if arguments > 0 && len(args) >= arguments {
			return nil, cobra.ShellCompDirectiveDefault
		}
		for _, v := range values() {
			if strings.HasPrefix(v, word) {
				fit = append(fit, v)
			}
		}
		return fit, cobra.ShellCompDirectiveDefault
	}
}

// deviceNames are the devices of this machine, and groups of them.
func deviceNames() []string {
	names := []string{"auto", "cpu", "sim", "sim:2"}
	gpus, err := listGPUs()
	if err != nil {
		return names
	}
	for _, g := range gpus {
		names = append(names, g.Device)
	}
	return append(names, "all")
}

// runFolders are the runs where train puts them.
func runFolders() (runs []string) {
	found, err := filepath.Glob(filepath.Join(runsDir, "*", trainer.ConfigFile))
	if err != nil {
		return nil
	}
	for _, path := range found {
		runs = append(runs, filepath.Dir(path))
	}
	return runs
}

// configurations are the presets, and the configuration files here.
func configurations() []string {
	names := trainer.Presets()
	entries, err := os.ReadDir(".")
	if err != nil {
		return names
	}
	for _, e := range entries {
		if hasEnding(e.Name(), configEndings...) {
			names = append(names, e.Name())
		}
	}
	return names
}
