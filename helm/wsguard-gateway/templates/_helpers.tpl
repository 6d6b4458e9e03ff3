{{/* What the gateway's Deployment and Services select. */}}
{{- define "wsguard-gateway.selector" -}}
app.kubernetes.io/name: wsguard
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: gateway
{{- end }}
