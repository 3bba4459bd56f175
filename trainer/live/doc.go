// Package live shows runs in a browser while they train and afterwards: a page with server-sent events, which reads what runs leave in their folders and
// hears of a run in this process as its Observer. It serves the same to Prometheus.
package live
