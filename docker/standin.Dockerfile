# The stand-in for OpenMRS, for trying the plugin out: no OpenMRS, and nothing for a hospital.
# Built from the root of the repository:
#   docker build -f docker/standin.Dockerfile -t openmrs-standin .
ARG DEBIAN=trixie-slim
FROM debian:${DEBIAN}
LABEL org.opencontainers.image.title="openmrs-standin" \
      org.opencontainers.image.description="A stand-in for OpenMRS with its Imaging module" \
      org.opencontainers.image.licenses="AGPL-3.0-or-later"
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 tzdata \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/apt /var/log/dpkg.log
WORKDIR /opt
COPY standin/ standin/
USER nobody
EXPOSE 8080
ENTRYPOINT ["/usr/bin/python3", "-m", "standin", "--host", "0.0.0.0", "--port", "8080"]
CMD ["--patients", "12"]
