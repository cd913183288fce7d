"""Class means, discriminants and principal components against scikit-learn."""

import numpy as np
import pytest
import torch
from probe_toys import correlated, cosine, draw
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

import probes
from interp.activations import Activations
from interp.sites import Kind, Site
from probes.estimators.class_means import LDA, MassMean, PCAMeans

SITE = Site(Kind.RESID_PRE, 1)


@pytest.mark.parametrize("classes", [2, 3])
def test_mass_mean_with_covariance_is_the_unshrunk_discriminant(classes: int) -> None:
    x, y = correlated(200, 10, classes)
    oracle = LinearDiscriminantAnalysis(solver="lsqr", priors=np.full(classes, 1 / classes)).fit(x, y)
    weight, bias = MassMean(covariance=True).solve(torch.from_numpy(x), draw(y), classes)
    guess = x @ weight[0].numpy().T + bias[0].numpy()
    assert (guess.argmax(1) == oracle.predict(x)).all()
    plain, _ = MassMean().solve(torch.from_numpy(x), draw(y), classes)
    gap, theirs = (weight[0, 1] - weight[0, 0]).numpy(), oracle.coef_[-1]
    if classes == 2:
        assert cosine(gap, theirs) > 0.999
        assert abs(cosine((plain[0, 1] - plain[0, 0]).numpy(), theirs)) < 0.9


def test_discriminant_is_scikit_learns_and_beats_plain_means_under_a_nuisance() -> None:
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(300) % 2
    x = torch.randn(300, 40, generator=generator)
    x[:, 0] = 30 * torch.randn(300, generator=generator)  # loud and irrelevant
    x[:, 1] += 3.0 * y
    oracle = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto", priors=[0.5, 0.5])
    oracle.fit(x[:200].double().numpy(), y[:200].numpy())
    weight, bias = LDA().solve(x[:200], y[None, :200], 2)
    guess = (x[200:].double() @ weight[0].T + bias[0]).argmax(1)
    assert (guess.numpy() == oracle.predict(x[200:].double().numpy())).all()
    means, cut = MassMean().solve(x[:200], y[None, :200], 2)
    plain = (x[200:].double() @ means[0].T + cut[0]).argmax(1)
    assert (guess == y[200:]).double().mean() > (plain == y[200:]).double().mean() + 0.1


def test_principal_reads_the_first_component_and_no_quieter_one() -> None:
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(200) % 2
    x = torch.randn(200, 20, generator=generator)
    x[:, 4] *= 12  # the first component, without the label
    x[:, 7] += 9.0 * y  # the second, with it
    top = PCA(1).fit(x.numpy()).components_[0]
    weight, _ = PCAMeans().solve(x, y[None], 2)
    assert abs(cosine((weight[0, 1] - weight[0, 0]).numpy(), top)) > 1 - 1e-6
    groups = tuple(f"g{i // 2}" for i in range(200))
    seen = Activations(SITE, x, groups, y)
    scores = [probes.fit(seen, estimator=PCAMeans(components=k)).score for k in (1, 2)]
    assert scores[0] is not None and scores[1] is not None
    assert abs(scores[0] - 0.5) < 0.12 and scores[1] > 0.95
