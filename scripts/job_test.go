package scripts

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

// The Kubernetes job is YAML, and its user and volume are those of the image.
func TestKubernetesJob(t *testing.T) {
	text, err := os.ReadFile("job.k8s.yaml")
	if err != nil {
		t.Fatal(err)
	}
	image, err := os.ReadFile("../Dockerfile.cuda")
	if err != nil {
		t.Fatal(err)
	}
	claim, job, ok := strings.Cut(string(text), "\n---\n")
	if !ok {
		t.Fatal("want two documents: a claim and a job")
	}
	get := func(doc, path string) string {
		t.Helper()
		p, err := yaml.PathString(path)
		if err != nil {
			t.Fatal(err)
		}
		var v string
		if err := p.Read(strings.NewReader(doc), &v); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		return v
	}
	pod := "$.spec.template.spec."
	uid := get(job, pod+"securityContext.runAsUser")
	dir := get(job, pod+"containers[0].volumeMounts[0].mountPath")
	for _, line := range []string{"USER " + uid + ":" + get(job, pod+"securityContext.runAsGroup"), "VOLUME " + dir, "WORKDIR " + dir} {
		if !strings.Contains(string(image), "\n"+line+"\n") {
			t.Errorf("the image lacks %q", line)
		}
	}
	for _, z := range [][3]string{
		{claim, "$.kind", "PersistentVolumeClaim"},
		{claim, "$.metadata.name", get(job, pod+"volumes[0].persistentVolumeClaim.claimName")},
		{job, "$.kind", "Job"},
		{job, pod + "restartPolicy", "OnFailure"},
		{job, pod + "securityContext.runAsNonRoot", "true"},
		{job, pod + "securityContext.fsGroup", uid},
		{job, pod + "containers[0].resources.limits.'nvidia.com/gpu'", "1"},
		{job, pod + "tolerations[0].key", "nvidia.com/gpu"},
		{job, pod + "tolerations[0].operator", "Exists"},
		{job, pod + "tolerations[0].effect", "NoSchedule"},
		{job, pod + "volumes[0].name", get(job, pod+"containers[0].volumeMounts[0].name")},
	} {
		if got := get(z[0], z[1]); got != z[2] {
			t.Errorf("%s is %q, want %q", z[1], got, z[2])
		}
	}
}

// The job on several nodes is one of pods that find each other: its service, its claim and its numbers are of one name and one size, and its pods are those of
// the job on one node.
func TestKubernetesNodes(t *testing.T) {
	docs := func(path string) []map[string]any {
		t.Helper()
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		var all []map[string]any
		for d := yaml.NewDecoder(f); ; {
			var doc map[string]any
			if err := d.Decode(&doc); errors.Is(err, io.EOF) {
				return all
			} else if err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			all = append(all, doc)
		}
	}
	at := func(doc any, path string) any {
		t.Helper()
		for _, key := range strings.Split(path, ".") {
			switch d := doc.(type) {
			case map[string]any:
				doc = d[key]
			case []any:
				i, err := strconv.Atoi(key)
				if err != nil || i >= len(d) {
					t.Fatalf("%s: no element %s", path, key)
				}
				doc = d[i]
			default:
				t.Fatalf("%s: nothing at %s", path, key)
			}
		}
		return doc
	}
	nodes, one := docs("job-nodes.k8s.yaml"), docs("job.k8s.yaml")
	claim, service, job := nodes[0], nodes[1], nodes[2]
	const pod = "spec.template.spec."
	name := at(service, "metadata.name").(string)
	for what, pair := range map[string][2]any{
		"the service selects the job":       {at(service, "spec.selector.job-name"), at(job, "metadata.name")},
		"the subdomain is the service":      {at(job, pod+"subdomain"), name},
		"the service has no address":        {at(service, "spec.clusterIP"), "None"},
		"pods are found before they are up": {at(service, "spec.publishNotReadyAddresses"), true},
		"the claim":                         {at(job, pod+"volumes.0.persistentVolumeClaim.claimName"), at(claim, "metadata.name")},
		"pods have indices":                 {at(job, "spec.completionMode"), "Indexed"},
		"all at once":                       {at(job, "spec.completions"), at(job, "spec.parallelism")},
		"the world":                         {at(job, pod+"containers.0.env.0.value"), fmt.Sprint(at(job, "spec.completions"))},
		"rank 0":                            {at(job, pod+"containers.0.env.1.value"), fmt.Sprintf("%s-0.%s", at(job, "metadata.name"), name)},
		"the user":                          {fmt.Sprint(at(job, pod+"securityContext")), fmt.Sprint(at(one[1], pod+"securityContext"))},
		"the container's rights":            {fmt.Sprint(at(job, pod+"containers.0.securityContext")), fmt.Sprint(at(one[1], pod+"containers.0.securityContext"))},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s: %v, want %v", what, pair[0], pair[1])
		}
	}
	mpi := docs("job.mpi.yaml")[0]
	slots := at(mpi, "spec.slotsPerWorker").(uint64) * at(mpi, "spec.mpiReplicaSpecs.Worker.replicas").(uint64)
	if np := at(mpi, "spec.mpiReplicaSpecs.Launcher.template.spec.containers.0.command.2"); np != fmt.Sprint(slots) {
		t.Errorf("mpirun starts %v processes, want one for each of %d slots", np, slots)
	}
	wait, err := strconv.Atoi(fmt.Sprint(at(mpi, "spec.mpiReplicaSpecs.Launcher.template.spec.containers.0.command.7")))
	if grace := at(mpi, "spec.mpiReplicaSpecs.Launcher.template.spec.terminationGracePeriodSeconds").(uint64); err != nil || uint64(2*wait) >= grace {
		t.Errorf("mpirun waits twice %d s (%v), want less than the grace of %d s", wait, err, grace)
	}
}

// The Slurm job on several nodes starts its processes by srun, with all that they need to find each other.
func TestSlurmNodes(t *testing.T) {
	bin := t.TempDir()
	for name, text := range map[string]string{
		"scontrol": `echo node7; echo node8`,
		"srun":     `test "$1" = --kill-on-bad-exit=1 || exit 3; shift; SLURM_PROCID=3 exec "$@"`,
		"convae":   `echo "$SLURM_PROCID of $WORLD_SIZE at $MASTER_ADDR:$MASTER_PORT, ${#CONVAE_TOKEN}: $*"`,
	} {
		if err := os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\n"+text+"\n"), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	c := exec.Command("bash", "job.slurm.sh", "large.yaml")
	c.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "SLURM_JOB_ID=31", "SLURM_NTASKS=16", "SLURM_JOB_NODELIST=node[7-8]")
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	const want = "3 of 16 at node7:20031, 32: train --device cuda --log json large.yaml --out runs/slurm-31 --continue\n"
	if string(out) != want {
		t.Errorf("it starts %q, want %q", out, want)
	}
}
