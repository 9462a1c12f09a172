// Checks Kubernetes manifests: builds a kustomization as kubectl does, and decodes each object strictly as what it says it is.
// A field that Kubernetes does not know, one of another type, and one that stands twice are errors; so is a reference to what
// is not there. Nothing is asked of a cluster.
package main

import (
	"fmt"
	"os"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

func main() {
	if err := check(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func check(folder string) error {
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), folder)
	if err != nil {
		return err
	}
	decoder := serializer.NewCodecFactory(scheme.Scheme, serializer.EnableStrict).UniversalDeserializer()
	var objects []runtime.Object
	for _, resource := range built.Resources() {
		text, err := resource.AsYAML()
		if err != nil {
			return err
		}
		object, _, err := decoder.Decode(text, nil, nil)
		if err != nil {
			return fmt.Errorf("%s %s: %w", resource.GetKind(), resource.GetName(), err)
		}
		fmt.Println("ok", resource.GetKind(), resource.GetName())
		objects = append(objects, object)
	}
	return refer(objects)
}

// What the stateful set names must be there, and what selects pods must select its own.
func refer(objects []runtime.Object) error {
	names := map[string]bool{}
	var set *appsv1.StatefulSet
	selectors := map[string]labels.Selector{}
	for _, object := range objects {
		switch object := object.(type) {
		case *appsv1.StatefulSet:
			set = object
			selector, err := metav1.LabelSelectorAsSelector(object.Spec.Selector)
			if err != nil {
				return err
			}
			selectors["the stateful set"] = selector
		case *policyv1.PodDisruptionBudget:
			selector, err := metav1.LabelSelectorAsSelector(object.Spec.Selector)
			if err != nil {
				return err
			}
			selectors["the disruption budget"] = selector
		case *corev1.Service:
			names["service "+object.Name] = true
			selectors["service "+object.Name] = labels.SelectorFromSet(object.Spec.Selector)
		case *corev1.ConfigMap:
			names["config map "+object.Name] = true
		case *corev1.PersistentVolumeClaim:
			names["claim "+object.Name] = true
		}
	}
	if set == nil {
		return fmt.Errorf("there is no stateful set")
	}
	wanted := []string{"service " + set.Spec.ServiceName}
	for _, volume := range set.Spec.Template.Spec.Volumes {
		if volume.ConfigMap != nil {
			wanted = append(wanted, "config map "+volume.ConfigMap.Name)
		}
		if volume.PersistentVolumeClaim != nil {
			wanted = append(wanted, "claim "+volume.PersistentVolumeClaim.ClaimName)
		}
	}
	for _, name := range wanted {
		if !names[name] {
			return fmt.Errorf("the stateful set names %s, which is not there", name)
		}
	}
	// As the controller labels pod 0.
	pod := labels.Set{"apps.kubernetes.io/pod-index": "0"}
	for key, value := range set.Spec.Template.Labels {
		pod[key] = value
	}
	for who, selector := range selectors {
		if !selector.Matches(pod) {
			return fmt.Errorf("%s selects no pod of the stateful set", who)
		}
	}
	return nil
}
