// Command convae trains convolutional autoencoders and uses what it has trained. See convae --help.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	// The first signal ends the work at hand in good order, the second ends the process.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	if err := rootCommand().ExecuteContext(ctx); err != nil {
		if errors.Is(err, errInterrupted) {
			os.Exit(130) // as a shell reports an interrupt; the run has said that it saved
		}
		fmt.Fprintln(os.Stderr, "convae:", oneLine(err))
		os.Exit(1)
	}
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
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          noCommand,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetFlagErrorFunc(flagError)
	root.AddCommand(trainCommand(), presetsCommand(), evalCommand(), denoiseCommand(), encodeCommand(), decodeCommand(), sampleCommand(), pcaCommand(), anomaliesCommand(), interpolateCommand(), featuresCommand(), reportCommand(), summaryCommand(), devicesCommand(), checkCommand(), benchCommand(), profileCommand(), dataCommand(), versionCommand())
	refuseEmpty(root)
	root.CompletionOptions.HiddenDefaultCmd = true
	return root
}

// oneLine keeps an error on one line whatever it wraps.
func oneLine(err error) string {
	s := []byte(err.Error())
	for i, c := range s {
		if c == '\n' || c == '\r' {
			s[i] = ' '
		}
	}
	return string(s)
}
