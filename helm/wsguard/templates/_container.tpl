{{/*
The guard's container: the one definition for sidecars and for the gateway. Takes the root.

Numeric ports in probes and hooks: a name resolves only inside its own container. No shell: the image has no use for one.
*/}}
{{- define "wsguard.container" -}}
{{- $guard := .Values.wsguard -}}
{{- $beside := regexFind "^http://(127\\.0\\.0\\.1|localhost):[0-9]+$" $guard.backend | splitList ":" | last -}}
{{- if eq (toString $guard.ports.public) (toString $guard.ports.admin) }}
{{- fail (printf "wsguard.ports: public and admin are both %v" $guard.ports.public) }}
{{- end -}}
{{- range $name, $port := $guard.ports }}
{{- if eq (toString $port) $beside }}
{{- fail (printf "wsguard.ports.%s: %v is the application's own port, and a pod has only one: give the guard another" $name $port) }}
{{- end -}}
{{- end -}}
name: wsguard
image: {{ include "wsguard.image" . | quote }}
imagePullPolicy: {{ $guard.image.pullPolicy }}
args:
- run
{{- if include "wsguard.policies" . }}
- --policy=/etc/wsguard/policies
{{- end }}
- {{ required "wsguard.backend is required: http://127.0.0.1:PORT beside an application, http://SERVICE:PORT as a gateway" $guard.backend | printf "--backend=%s" | quote }}
- --listen=0.0.0.0:{{ $guard.ports.public }}
- --admin=0.0.0.0:{{ $guard.ports.admin }}
ports:
- {name: wsguard, containerPort: {{ $guard.ports.public }}, protocol: TCP}
- {name: wsguard-admin, containerPort: {{ $guard.ports.admin }}, protocol: TCP}
startupProbe:  # until policies are loaded and the port is open; so long a sidecar holds the application back
  httpGet: {path: /startupz, port: {{ $guard.ports.admin }}}
  periodSeconds: 1
  failureThreshold: 60
livenessProbe:
  httpGet: {path: /livez, port: {{ $guard.ports.admin }}}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 3
readinessProbe:
  httpGet: {path: /readyz, port: {{ $guard.ports.admin }}}
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: 2
lifecycle:
  preStop:
    exec:
      command: [wsguard, drain, --after={{ $guard.drain.after }}s, --window={{ $guard.drain.window }}s, --wait]
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  readOnlyRootFilesystem: true
  allowPrivilegeEscalation: false
  capabilities: {drop: [ALL]}
  seccompProfile: {type: RuntimeDefault}
resources: {{- toYaml $guard.resources | nindent 2 }}
volumeMounts:
{{- if include "wsguard.policies" . }}
- {name: wsguard-policies, mountPath: /etc/wsguard/policies, readOnly: true}
{{- end }}
{{- if $guard.secrets }}
- {name: wsguard-secrets, mountPath: /etc/wsguard/secrets, readOnly: true}
{{- end }}
- {name: wsguard-tmp, mountPath: /tmp}  # the control socket, in a folder that the guard makes for itself
{{- end }}

{{/* The container as a native sidecar: it starts before the application and gets its SIGTERM after it. Takes the root. */}}
{{- define "wsguard.sidecar" -}}
{{ include "wsguard.container" . }}
restartPolicy: Always
{{- end }}

{{/* The volumes that the container mounts, a list. Takes the root. */}}
{{- define "wsguard.volumes" -}}
{{- $guard := .Values.wsguard -}}
{{- with include "wsguard.policies" . }}
- name: wsguard-policies
  configMap: {name: {{ . | quote }}}
{{- end }}
{{- with $guard.secrets }}
- name: wsguard-secrets
  projected:
    sources:
    {{- range . }}
    - secret: {name: {{ . | quote }}}
    {{- end }}
{{- end }}
- name: wsguard-tmp
  emptyDir: {medium: Memory, sizeLimit: 1Mi}
{{- end }}

{{/*
The preStop hook of an application beside a guard. All hooks of a pod run side by side, so without this one the
application would get its SIGTERM at once and the drain would have nothing left to spread. It waits, and triggers nothing.
*/}}
{{- define "wsguard.waitForDrain" -}}
httpGet: {path: /drain/wait, port: {{ .Values.wsguard.ports.admin }}}
{{- end }}
