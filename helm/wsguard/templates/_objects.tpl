{{/* Everything the guard needs beside the pods, as documents of one stream. Takes the root. */}}
{{- define "wsguard.objects" -}}
{{- $guard := .Values.wsguard -}}
{{- if $guard.policies }}
---
{{ include "wsguard.configMap" . }}
{{- end }}
{{- if $guard.networkPolicy.enabled }}
---
{{ include "wsguard.networkPolicy" . }}
{{- end }}
{{- if $guard.monitoring.podMonitor.enabled }}
---
{{ include "wsguard.podMonitor" . }}
{{- end }}
{{- if $guard.monitoring.alerts.enabled }}
---
{{ include "wsguard.alerts" . }}
{{- end }}
{{- if $guard.monitoring.dashboard.enabled }}
---
{{ include "wsguard.dashboard" . }}
{{- end }}
{{- end }}

{{/*
Who may reach the pods. A policy that names the guard's ports closes all others, the application's own among them; the
node's probes and hooks pass whatever it says.
*/}}
{{- define "wsguard.networkPolicy" -}}
{{- $guard := .Values.wsguard -}}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {{ include "wsguard.name" . }}
  labels: {{- include "wsguard.labels" . | nindent 4 }}
spec:
  podSelector:
    matchLabels: {{- include "wsguard.podLabels" . | nindent 6 }}
  policyTypes: [Ingress]
  ingress:
  - ports: [{port: {{ $guard.ports.public }}, protocol: TCP}]
    {{- with $guard.networkPolicy.from }}
    from: {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with $guard.networkPolicy.metricsFrom }}
  - ports: [{port: {{ $guard.ports.admin }}, protocol: TCP}]
    from: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $guard.networkPolicy.extraIngress }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
