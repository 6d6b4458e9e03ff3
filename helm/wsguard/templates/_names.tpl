{{/*
What everything of this release is called, short enough for what some names end in. A release may have dots in its name,
and begin with a digit; a Service may not (RFC 1035). Takes the root.
*/}}
{{- define "wsguard.name" -}}
{{- $name := .Release.Name | replace "." "-" -}}
{{- if regexMatch "^[0-9]" $name }}{{ $name = printf "wsguard-%s" $name }}{{ end -}}
{{- if not (contains "wsguard" $name) }}{{ $name = printf "%s-wsguard" ($name | trunc 45 | trimSuffix "-") }}{{ end -}}
{{- $name | trunc 53 | trimSuffix "-" -}}
{{- end }}

{{/* Labels of everything the library makes. Takes the root. */}}
{{- define "wsguard.labels" -}}
app.kubernetes.io/name: wsguard
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/version: {{ .Subcharts.wsguard.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{/* The label of every pod with a guard of this release. Takes the root. */}}
{{- define "wsguard.podLabels" -}}
wsguard.dev/guard: {{ .Release.Name | quote }}
{{- end }}

{{/* The image. Takes the root. */}}
{{- define "wsguard.image" -}}
{{- $image := .Values.wsguard.image -}}
{{- $repository := required "wsguard.image.repository is required: build the image from the Dockerfile, push it, and say where it is" $image.repository -}}
{{- if $image.digest -}}
{{ $repository }}@{{ $image.digest }}
{{- else -}}
{{ $repository }}:{{ $image.tag | default .Subcharts.wsguard.Chart.AppVersion }}
{{- end -}}
{{- end }}

{{/*
The pod's grace period in seconds: the hooks' time and what follows. What has not ended five seconds after the window is
left behind by the guard; five more are for the way from one step to the next.
*/}}
{{- define "wsguard.grace" -}}
{{- $drain := .Values.wsguard.drain -}}
{{- add $drain.after $drain.window 5 $drain.appShutdown 5 -}}
{{- end }}
