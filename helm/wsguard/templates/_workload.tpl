{{/*
A workload with the guard in it. Takes a list: the root, and the name of the template that renders the workload.

  {{- include "wsguard.workload" (list . "my-app.deployment") }}
*/}}
{{- define "wsguard.workload" -}}
{{- $root := index . 0 -}}
{{- $workload := include (index . 1) $root | fromYaml -}}
{{- if not (has $workload.kind (list "Deployment" "StatefulSet" "DaemonSet")) }}
{{- fail (printf "%s: a guard stands before a Deployment, StatefulSet or DaemonSet, not before %s" (index . 1) (default "what is no manifest" $workload.kind)) }}
{{- end -}}
{{- $template := $workload.spec.template -}}
{{- $pod := $template.spec -}}
{{- range $pod.containers }}
{{- include "wsguard._hook" (list $root .) }}
{{- include "wsguard._hostPort" (list $root .) }}
{{- end -}}
{{- /* After the other init containers: what prepares the application needs no guard yet. */ -}}
{{- $_ := set $pod "initContainers" (append ($pod.initContainers | default list) (include "wsguard.sidecar" $root | fromYaml)) -}}
{{- $_ := set $pod "volumes" (concat ($pod.volumes | default list) (include "wsguard.volumes" $root | fromYamlArray)) -}}
{{- include "wsguard._grace" (list $root $pod) -}}
{{- $metadata := $template.metadata -}}
{{- $_ := set $metadata "labels" (merge (include "wsguard.podLabels" $root | fromYaml) $metadata.labels) -}}
{{- with include "wsguard.podAnnotations" $root | fromYaml }}
{{- $_ := set $metadata "annotations" (merge . ($metadata.annotations | default dict)) -}}
{{- end -}}
{{- toYaml $workload -}}
{{- end }}

{{/* Let one container of the application wait for the drain. Takes a list: the root, the container. */}}
{{- define "wsguard._hook" -}}
{{- $root := index . 0 -}}
{{- $container := index . 1 -}}
{{- $lifecycle := $container.lifecycle | default dict -}}
{{- if not $lifecycle.preStop }}
{{- $_ := set $lifecycle "preStop" (include "wsguard.waitForDrain" $root | fromYaml) -}}
{{- $_ := set $container "lifecycle" $lifecycle -}}
{{- else if not (has $container.name $root.Values.wsguard.ownPreStop) }}
{{- fail (printf "the container %s has a preStop hook of its own, and there can be only one: let it outlast the drain (GET http://127.0.0.1:%v/drain/wait answers at its end) and name the container in wsguard.ownPreStop" $container.name $root.Values.wsguard.ports.admin) }}
{{- end -}}
{{- end }}

{{/* Refuse a way around the guard that no NetworkPolicy closes. Takes a list: the root, the container. */}}
{{- define "wsguard._hostPort" -}}
{{- $backend := regexFind "[0-9]+$" (index . 0).Values.wsguard.backend -}}
{{- range (index . 1).ports }}
{{- if and .hostPort (eq (toString .containerPort) $backend) }}
{{- fail (printf "hostPort %v opens the application's own port %s on every node, around the guard: take it out" .hostPort $backend) }}
{{- end -}}
{{- end -}}
{{- end }}

{{/* Set the pod's grace period, or refuse one that cuts the drain short. Takes a list: the root, the pod's spec. */}}
{{- define "wsguard._grace" -}}
{{- $needed := include "wsguard.grace" (index . 0) | int -}}
{{- $pod := index . 1 -}}
{{- $given := $pod.terminationGracePeriodSeconds -}}
{{- if and (not (kindIs "invalid" $given)) (lt (int $given) $needed) }}
{{- fail (printf "terminationGracePeriodSeconds is %d, but the drain and the application need %d: leave it out, or shorten wsguard.drain" (int $given) $needed) }}
{{- end -}}
{{- $_ := set $pod "terminationGracePeriodSeconds" ($given | default $needed | int) -}}
{{- end }}
