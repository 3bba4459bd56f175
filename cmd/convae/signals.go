package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

// grace is how long a command has to end by itself after a signal. What it writes to files is whole or not there, so
// only one that saves its state is waited for.
const grace = 2 * time.Second

// savesState annotates commands that, on a signal, save what they have before they end.
const savesState = "saves-state"

// untilSignal returns a context that an interrupt, a hang-up or a request to terminate ends. The second signal ends the
// process, as does the first after a while, unless the command that the arguments name saves its state.
func untilSignal(root *cobra.Command, args []string) context.Context {
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // it is under nohup, and must stay so
		signals = append(signals, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), signals...)
	command, _, err := root.Find(args)
	saves := err == nil && command.Annotations[savesState] != ""
	context.AfterFunc(ctx, func() {
		stop()
		if !saves {
			time.Sleep(grace)
			os.Exit(interruptedStatus)
		}
	})
	return ctx
}
