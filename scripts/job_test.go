package scripts

import (
	"os"
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
