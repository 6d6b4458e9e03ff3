{{/* Scrapes the pods themselves, so that an application's Service needs no port for it. Takes the root. */}}
{{- define "wsguard.podMonitor" -}}
{{- $monitor := .Values.wsguard.monitoring.podMonitor -}}
apiVersion: monitoring.coreos.com/v1
kind: PodMonitor
metadata:
  name: {{ include "wsguard.name" . }}
  labels: {{- include "wsguard.monitoringLabels" (list . $monitor.labels) | nindent 4 }}
spec:
  selector:
    matchLabels: {{- include "wsguard.podLabels" . | nindent 6 }}
  podTargetLabels: [wsguard.dev/guard]  # alerts and dashboard tell releases apart by it, as wsguard_dev_guard
  podMetricsEndpoints:
  - {port: wsguard-admin, path: /metrics, interval: {{ $monitor.interval }}}
{{- end }}

{{/* Alerts, for the series of this release alone. Takes the root. */}}
{{- define "wsguard.alerts" -}}
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: {{ include "wsguard.name" . }}
  labels: {{- include "wsguard.monitoringLabels" (list . .Values.wsguard.monitoring.alerts.labels) | nindent 4 }}
spec:
  {{- .Subcharts.wsguard.Files.Get "files/alerts.yaml" | replace "RELEASE" .Release.Name | replace "NAMESPACE" .Release.Namespace | nindent 2 }}
{{- end }}

{{/* The dashboard, where Grafana's sidecar looks for it. Takes the root. */}}
{{- define "wsguard.dashboard" -}}
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ include "wsguard.name" . }}-dashboard
  labels: {{- include "wsguard.monitoringLabels" (list . .Values.wsguard.monitoring.dashboard.labels) | nindent 4 }}
data:
  wsguard.json: | {{- .Subcharts.wsguard.Files.Get "files/dashboard.json" | nindent 4 }}
{{- end }}

{{/* The usual labels, and those by which an operator or Grafana picks what is for it. Takes a list: the root, labels. */}}
{{- define "wsguard.monitoringLabels" -}}
{{- include "wsguard.labels" (index . 0) }}
{{- with index . 1 }}
{{ toYaml . }}
{{- end }}
{{- end }}
