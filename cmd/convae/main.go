// Command convae trains convolutional autoencoders and uses what it has trained. See convae --help.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func main() {
	root := rootCommand()
	os.Exit(runRoot(untilSignal(root, os.Args[1:]), root, os.Stdout, os.Stderr))
}

// interruptedStatus is the exit status of a command that a signal ended in good order, as a shell reports an interrupt.
const interruptedStatus = 130

// runRoot runs a command and returns its exit status. Output that could not be written is an error whatever the command
// made of it.
func runRoot(ctx context.Context, root *cobra.Command, stdout, stderr io.Writer) int {
	out := &output{w: stdout}
	root.SetOut(out)
	root.SetErr(stderr)
	c, err := root.ExecuteContextC(ctx)
	switch {
	case errors.Is(err, errInterrupted), ctx.Err() != nil && errors.Is(err, context.Canceled):
		return interruptedStatus
	case err == nil && out.err != nil:
		err = fmt.Errorf("the output could not be written: %w", out.err)
	}
	if err == nil {
		return 0
	}
	if errors.Is(err, errSaid) {
		return 1
	}
	if f := c.Flags().Lookup("log"); f != nil && f.Value.String() == "json" {
		log := jsonLog(stderr) // which has nothing but JSON in it
		log.Error().Msg(oneLine(err))
	} else {
		fmt.Fprintln(stderr, "convae:", oneLine(err))
	}
	return 1
}

// output is a writer of printable characters that remembers its first error, so that no command has to look at what each
// print returns.
type output struct {
	w   io.Writer
	err error
}

func (o *output) Write(p []byte) (int, error) {
	n, err := len(p), error(nil)
	if shown := printable(string(p)); shown == string(p) {
		n, err = o.w.Write(p)
	} else if _, err = io.WriteString(o.w, shown); err != nil {
		n = 0
	}
	if o.err == nil {
		o.err = err
	}
	return n, err
}

// unprinted returns the writer below an output, for bytes that are no text.
func unprinted(w io.Writer) io.Writer {
	if o, ok := w.(*output); ok {
		return o.w
	}
	return w
}

// errInterrupted ends a command that a signal ended in good order.
var errInterrupted = errors.New("interrupted")

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "convae",
		Short: "Train convolutional autoencoders",
		Long: `convae trains convolutional autoencoders and uses what it has trained.

  convae train                       train the denoiser on built-in digits
  convae train --data mnist          train it on MNIST (downloaded into the cache)
  convae eval RUN                    measure a trained model
  convae denoise IN.png OUT.png      clean a picture with the newest model`,
		Version:       versionText(),
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          noCommand,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetVersionTemplate("{{.Version}}\n")
	root.SetFlagErrorFunc(flagError)
	root.AddCommand(trainCommand(), sweepCommand(), presetsCommand(), evalCommand(), denoiseCommand(), encodeCommand(), decodeCommand(), sampleCommand(), pcaCommand(), anomaliesCommand(), interpolateCommand(), featuresCommand(), reportCommand(), serveCommand(), importCommand(), exportCommand(), summaryCommand(), diffCommand(), devicesCommand(), checkCommand(), benchCommand(), profileCommand(), dataCommand(), completionCommand(), manCommand(), versionCommand(), licencesCommand())
	root.SetHelpCommand(helpCommand())
	refuseEmpty(root)
	addCompletions(root)
	root.SetGlobalNormalizationFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		if name == "devices" {
			name = "device"
		}
		return pflag.NormalizedName(name)
	})
	return root
}
