# One image for every use: the dashboard, a training Job, a pipeline step.
#
#   docker build -t visrec:0.1.0 .
#   docker build -t visrec:0.1.0-gpu --build-arg TENSORFLOW="tensorflow[and-cuda]" .
#
# From what changes least to what changes most: a change of code rebuilds only the last, small layers.

ARG BASE_IMAGE=python:3.11-slim
FROM ${BASE_IMAGE}

# A numeric user, because Kubernetes can check `runAsNonRoot` only against a number. The folders are made here so that
# a fresh named volume of Docker takes over their owner.
RUN groupadd --gid 10001 visrec \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin visrec \
    && install --directory --owner=10001 --group=10001 /data /data/buckets /data/runs /data/cache

# A virtual environment, because some bases (Debian, Ubuntu, nvidia/cuda) refuse pip on their own Python.
RUN python3 -m venv /opt/visrec
ENV PATH=/opt/visrec/bin:$PATH

# "tensorflow[and-cuda]" brings the CUDA libraries as wheels; the host needs only the driver.
ARG TENSORFLOW=tensorflow
COPY requirements.txt deploy/image/requirements-gpu.txt /tmp/
RUN pip install --no-cache-dir --requirement /tmp/requirements.txt --constraint /tmp/requirements-gpu.txt "${TENSORFLOW}" \
    && rm /tmp/requirements.txt /tmp/requirements-gpu.txt

# HOME is /tmp, the one place besides /data that may be written when the root file system is read-only.
# KERAS_HOME lies on the cache's volume: ImageNet weights are fetched once, not once a pod.
# TensorFlow takes GPU memory as it needs it, because dashboard and training share one card.
# Without its welcome message the server does not ask a public address service for the machine's own address.
ENV HOME=/tmp \
    PYTHONUNBUFFERED=1 \
    VISREC_BUCKETS=/data/buckets \
    VISREC_RUNS=/data/runs \
    VISREC_CACHE=/data/cache \
    KERAS_HOME=/data/cache/keras \
    TF_FORCE_GPU_ALLOW_GROWTH=true \
    STREAMLIT_SERVER_HEADLESS=true \
    STREAMLIT_SERVER_FILE_WATCHER_TYPE=none \
    STREAMLIT_LOGGER_HIDE_WELCOME_MESSAGE=true \
    STREAMLIT_BROWSER_GATHER_USAGE_STATS=false

WORKDIR /app
COPY pyproject.toml requirements.in README.md LICENSE ./
COPY deploy/image/healthcheck.py deploy/image/healthcheck.py
COPY .streamlit .streamlit
COPY visrec visrec
COPY pages pages
COPY app.py ./
# Editable, because `visrec app` serves the app.py that lies beside the package; nothing is resolved or fetched here.
RUN pip install --no-cache-dir --no-deps --no-build-isolation --editable . \
    && python -m compileall -q visrec

ARG REVISION=unknown
LABEL org.opencontainers.image.title="visrec" \
      org.opencontainers.image.description="Train an image classifier from a bucket, audit it by subgroup, explain its answers" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="${REVISION}"

USER 10001:10001
EXPOSE 8501
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "/app/deploy/image/healthcheck.py"]

ENTRYPOINT ["python", "-m", "visrec"]
CMD ["app"]
