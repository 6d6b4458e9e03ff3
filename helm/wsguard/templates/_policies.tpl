{{/* The name of the ConfigMap with the policies; nothing where there are none, and the built-in policy holds. */}}
{{- define "wsguard.policies" -}}
{{- $guard := .Values.wsguard -}}
{{- if and $guard.policies $guard.existingConfigMap }}
{{- fail "wsguard.policies and wsguard.existingConfigMap: give one of the two" }}
{{- end -}}
{{- if $guard.policies }}{{ include "wsguard.name" . }}-policies{{ else }}{{ $guard.existingConfigMap }}{{ end -}}
{{- end }}

{{/* The ConfigMap itself, where the policies come with the release. Takes the root. */}}
{{- define "wsguard.configMap" -}}
{{- with .Values.wsguard.policies -}}
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ include "wsguard.policies" $ }}
  labels: {{- include "wsguard.labels" $ | nindent 4 }}
data:
  {{- range $name, $text := . }}
  {{ $name }}.yaml: |2 {{- $text | nindent 4 }}
  {{- end }}
{{- end }}
{{- end }}

{{/* Annotations of the pods: with Rollout, pods are replaced when their policies change. Takes the root. */}}
{{- define "wsguard.podAnnotations" -}}
{{- $guard := .Values.wsguard -}}
{{- if eq $guard.onPolicyChange "Rollout" -}}
{{- if $guard.existingConfigMap }}
{{- fail "wsguard.onPolicyChange: Rollout needs wsguard.policies, for a ConfigMap from elsewhere changes unseen" }}
{{- end -}}
checksum/wsguard-policies: {{ toJson $guard.policies | sha256sum }}
{{- end }}
{{- end }}
