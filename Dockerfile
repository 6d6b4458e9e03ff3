# The guard, and nothing that it does not need at run time: no pip, no compiler, and of the base only Python.
#
#   docker build --tag registry.example.com/wsguard:0.1.0 .
#   docker build --build-arg LOCK=requirements-extras.lock …     with the extras: Redis, NATS, CEL
#
# It listens on loopback until told otherwise: `run --listen 0.0.0.0:8080`. On a read-only root it wants a writable /tmp
# for its control socket, or `--control none`.
ARG PYTHON=docker.io/library/python:3.13-slim-trixie

FROM ${PYTHON} AS build
ARG LOCK=requirements.lock
WORKDIR /src
COPY requirements-build.lock ${LOCK} ./
# One environment for the tools, which stays here, and one to take along. Wheels only: what runs was built by its authors.
RUN python3 -m venv /tools \
 && python3 -m venv --without-pip /opt/wsguard \
 && /tools/bin/pip install --no-cache-dir --only-binary :all: --require-hashes --requirement requirements-build.lock \
 && /tools/bin/pip --python /opt/wsguard/bin/python3 install --no-cache-dir --only-binary :all: \
    --require-hashes --requirement "${LOCK}"
COPY pyproject.toml README.md LICENSE ./
COPY wsguard wsguard
RUN /tools/bin/pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir dist . \
 && /tools/bin/pip --python /opt/wsguard/bin/python3 install --no-cache-dir --no-deps --no-index dist/*.whl

FROM ${PYTHON}
LABEL org.opencontainers.image.title="wsguard" org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/wsguard /opt/wsguard
ENV PATH="/opt/wsguard/bin:${PATH}"
# A number, so that Kubernetes can see for itself that it is not root.
USER 65532:65532
EXPOSE 8080 9090
ENTRYPOINT ["/opt/wsguard/bin/wsguard"]
CMD ["run"]
