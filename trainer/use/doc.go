// Package use is what is done with a trained model: measuring it on data (Evaluate, SampleErrors), running it on pictures of
// any size (Apply, NewApplied), and looking into it (Features, Interpolate, manifolds of codes, sheets of samples). Training
// is package trainer's, which uses this one for validation and for a run's pictures.
package use
