// Package use is what is done with a trained model: measuring it on data (Evaluate, SampleErrors, FindAnomalies, ComparePCA),
// running it or half of it (Encode, Decode; Apply and NewApplied on pictures of any size), and looking into it (Features,
// Interpolate, manifolds of codes, sheets of samples). Training is package trainer's, which uses this one for validation and
// for a run's pictures.
package use
