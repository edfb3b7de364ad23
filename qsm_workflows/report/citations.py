"""Works that a methods text may cite."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Work:
    """A published work.

    Attributes
    ----------
    text : str
        Authors, title, journal, year, pages.
    doi : str
    """

    text: str
    doi: str

    @property
    def url(self) -> str:
        """Address that resolves the DOI."""
        return f"https://doi.org/{self.doi}"


WORKS = {
    "nipype": Work(
        "Gorgolewski K, Burns CD, Madison C, et al. Nipype: a flexible, lightweight and extensible "
        "neuroimaging data processing framework in Python. Front Neuroinform 2011;5:13.",
        "10.3389/fninf.2011.00013",
    ),
    "bids": Work(
        "Gorgolewski KJ, Auer T, Calhoun VD, et al. The brain imaging data structure, a format "
        "for organizing and describing outputs of neuroimaging experiments. Sci Data "
        "2016;3:160044.",
        "10.1038/sdata.2016.44",
    ),
    "bet": Work(
        "Smith SM. Fast robust automated brain extraction. Hum Brain Mapp 2002;17(3):143–155.",
        "10.1002/hbm.10062",
    ),
    "deepbet": Work(
        "Fisch L, Zumdick S, Barkhau C, et al. deepbet: fast brain extraction of T1-weighted MRI "
        "using convolutional neural networks. arXiv 2023;2308.07003.",
        "10.48550/arXiv.2308.07003",
    ),
    "bestpath": Work(
        "Abdul-Rahman HS, Gdeisat MA, Burton DR, Lalor MJ, Lilley F, Moore CJ. Fast and robust "
        "three-dimensional best path phase unwrapping algorithm. Appl Opt "
        "2007;46(26):6623–6635.",
        "10.1364/AO.46.006623",
    ),
    "mcpc3ds": Work(
        "Eckstein K, Dymerska B, Bachrata B, et al. Computationally efficient combination of "
        "multi-channel phase data from multi-echo acquisitions (ASPIRE). Magn Reson Med "
        "2018;79(6):2996–3006.",
        "10.1002/mrm.26963",
    ),
    "swi": Work(
        "Haacke EM, Xu Y, Cheng YN, Reichenbach JR. Susceptibility weighted imaging (SWI). Magn "
        "Reson Med 2004;52(3):612–618.",
        "10.1002/mrm.20198",
    ),
    "romeo": Work(
        "Dymerska B, Eckstein K, Bachrata B, et al. Phase unwrapping with a rapid opensource "
        "minimum spanning tree algorithm (ROMEO). Magn Reson Med 2021;85(4):2294–2308.",
        "10.1002/mrm.28563",
    ),
    "laplacian": Work(
        "Ghiglia DC, Romero LA. Robust two-dimensional weighted and unweighted phase unwrapping "
        "that uses fast transforms and iterative methods. J Opt Soc Am A 1994;11(1):107–117.",
        "10.1364/JOSAA.11.000107",
    ),
    "complex_fit": Work(
        "Liu T, Wisnieff C, Lou M, Chen W, Spincemaille P, Wang Y. Nonlinear formulation of the "
        "magnetic field to source relationship for robust quantitative susceptibility mapping. "
        "Magn Reson Med 2013;69(2):467–476.",
        "10.1002/mrm.24272",
    ),
    "arlo": Work(
        "Pei M, Nguyen TD, Thimmappa ND, et al. Algorithm for fast monoexponential fitting based "
        "on auto-regression on linear operations (ARLO) of data. Magn Reson Med "
        "2015;73(2):843–850.",
        "10.1002/mrm.25137",
    ),
    "resharp": Work(
        "Sun H, Wilman AH. Background field removal using spherical mean value filtering and "
        "Tikhonov regularization. Magn Reson Med 2014;71(3):1151–1157.",
        "10.1002/mrm.24765",
    ),
    "sharp": Work(
        "Schweser F, Deistung A, Lehr BW, Reichenbach JR. Quantitative imaging of intrinsic "
        "magnetic tissue properties using MRI signal phase: an approach to in vivo brain iron "
        "metabolism? NeuroImage 2011;54(4):2789–2807.",
        "10.1016/j.neuroimage.2010.10.070",
    ),
    "vsharp": Work(
        "Wu B, Li W, Guidon A, Liu C. Whole brain susceptibility mapping using compressed sensing. "
        "Magn Reson Med 2012;67(1):137–147.",
        "10.1002/mrm.23000",
    ),
    "ismv": Work(
        "Wen Y, Zhou D, Liu T, Spincemaille P, Wang Y. An iterative spherical mean value method "
        "for background field removal in MRI. Magn Reson Med 2014;72(4):1065–1071.",
        "10.1002/mrm.24998",
    ),
    "pdf": Work(
        "Liu T, Khalidov I, de Rochefort L, et al. A novel background field removal method for "
        "MRI using projection onto dipole fields (PDF). NMR Biomed 2011;24(9):1129–1136.",
        "10.1002/nbm.1670",
    ),
    "lbv": Work(
        "Zhou D, Liu T, Spincemaille P, Wang Y. Background field removal by solving the Laplacian "
        "boundary value problem. NMR Biomed 2014;27(3):312–319.",
        "10.1002/nbm.3064",
    ),
    "coverage": Work(
        "Zhu X, Gao Y, Liu F, Crozier S, Sun H. Deep grey matter quantitative susceptibility "
        "mapping from small spatial coverages using deep learning. Z Med Phys "
        "2022;32(2):188–198 (arXiv:2106.00525).",
        "10.1016/j.zemedi.2021.06.004",
    ),
    "dipole_salomir": Work(
        "Salomir R, de Senneville BD, Moonen CTW. A fast calculation method for magnetic field "
        "inhomogeneity due to an arbitrary distribution of bulk susceptibility. Concepts Magn "
        "Reson B 2003;19B(1):26–34.",
        "10.1002/cmr.b.10083",
    ),
    "dipole_marques": Work(
        "Marques JP, Bowtell R. Application of a Fourier-based method for rapid calculation of "
        "field inhomogeneity due to spatial variation of magnetic susceptibility. Concepts Magn "
        "Reson B 2005;25B(1):65–78.",
        "10.1002/cmr.b.20034",
    ),
    "tkd": Work(
        "Shmueli K, de Zwart JA, van Gelderen P, Li TQ, Dodd SJ, Duyn JH. Magnetic susceptibility "
        "mapping of brain tissue in vivo using MRI phase data. Magn Reson Med "
        "2009;62(6):1510–1522.",
        "10.1002/mrm.22135",
    ),
    "tsvd": Work(
        "Wharton S, Schäfer A, Bowtell R. Susceptibility mapping in the human brain using "
        "threshold-based k-space division. Magn Reson Med 2010;63(5):1292–1304.",
        "10.1002/mrm.22334",
    ),
    "l2": Work(
        "Bilgic B, Chatnuntawech I, Fan AP, et al. Fast image reconstruction with "
        "L2-regularization. J Magn Reson Imaging 2014;40(1):181–191.",
        "10.1002/jmri.24365",
    ),
    "ilsqr": Work(
        "Li W, Wang N, Yu F, et al. A method for estimating and removing streaking artifacts in "
        "quantitative susceptibility mapping. NeuroImage 2015;108:111–122.",
        "10.1016/j.neuroimage.2014.12.043",
    ),
    "medi": Work(
        "Liu J, Liu T, de Rochefort L, et al. Morphology enabled dipole inversion for "
        "quantitative susceptibility mapping using structural consistency between the magnitude "
        "image and the susceptibility map. NeuroImage 2012;59(3):2560–2568.",
        "10.1016/j.neuroimage.2011.08.082",
    ),
    "tv": Work(
        "Milovic C, Bilgic B, Zhao B, Acosta-Cabronero J, Tejos C. Fast nonlinear susceptibility "
        "inversion with variational regularization. Magn Reson Med 2018;80(2):814–821.",
        "10.1002/mrm.27073",
    ),
    "rts": Work(
        "Kames C, Wiggermann V, Rauscher A. Rapid two-step dipole inversion for susceptibility "
        "mapping with sparsity priors. NeuroImage 2018;167:276–283.",
        "10.1016/j.neuroimage.2017.11.018",
    ),
    "ndi": Work(
        "Polak D, Chatnuntawech I, Yoon J, et al. Nonlinear dipole inversion (NDI) enables robust "
        "quantitative susceptibility mapping (QSM). NMR Biomed 2020;33(12):e4271.",
        "10.1002/nbm.4271",
    ),
    "star": Work(
        "Wei H, Dibb R, Zhou Y, et al. Streaking artifact reduction for quantitative "
        "susceptibility mapping of sources with large dynamic range. NMR Biomed "
        "2015;28(10):1294–1303.",
        "10.1002/nbm.3383",
    ),
    "lnqsm": Work(
        "Sun H, Ma Y, MacDonald ME, Pike GB. Whole head quantitative susceptibility mapping using "
        "a least-norm direct dipole inversion method. NeuroImage 2018;179:166–175.",
        "10.1016/j.neuroimage.2018.06.036",
    ),
    "tfi": Work(
        "Liu Z, Kee Y, Zhou D, Wang Y, Spincemaille P. Preconditioned total field inversion (TFI) "
        "method for quantitative susceptibility mapping. Magn Reson Med 2017;78(1):303–315.",
        "10.1002/mrm.26331",
    ),
    "cosmos": Work(
        "Liu T, Spincemaille P, de Rochefort L, Kressler B, Wang Y. Calculation of susceptibility "
        "through multiple orientation sampling (COSMOS): a method for conditioning the inverse "
        "problem from measured magnetic field map to susceptibility source image in MRI. Magn "
        "Reson Med 2009;61(1):196–204.",
        "10.1002/mrm.21828",
    ),
    "xqsm": Work(
        "Gao Y, Zhu X, Moffat BA, et al. xQSM: quantitative susceptibility mapping with octave "
        "convolutional and noise-regularized neural networks. NMR Biomed 2021;34(3):e4461.",
        "10.1002/nbm.4461",
    ),
    "deepqsm": Work(
        "Bollmann S, Rasmussen KGB, Kristensen M, et al. DeepQSM – using deep learning to solve "
        "the dipole inversion for quantitative susceptibility mapping. NeuroImage "
        "2019;195:373–383.",
        "10.1016/j.neuroimage.2019.03.060",
    ),
    "ir2qsm": Work(
        "Li M, Chen C, Xiong Z, et al. IR2QSM: quantitative susceptibility mapping via deep "
        "neural networks with iterative reverse concatenations and recurrent modules. "
        "arXiv:2406.12300, 2024.",
        "10.48550/arXiv.2406.12300",
    ),
    "lpcnn": Work(
        "Lai KW, Aggarwal M, van Zijl P, Li X, Sulam J. Learned proximal networks for "
        "quantitative susceptibility mapping. Med Image Comput Comput Assist Interv "
        "2020;12262:125–135.",
        "10.1007/978-3-030-59713-9_13",
    ),
}
"""Key of a step → the work that describes it."""

_SHARED = {
    "fieldmap nonlinear": ("complex_fit",),
    "phase offset": ("mcpc3ds",),
    "swi phase": ("swi",),
    "phase coils": ("mcpc3ds",),
    "xqsmindividual": ("xqsm", "coverage"),
    "xqsmcropped": ("xqsm", "coverage"),
    "unet": ("xqsm",),
}


def works_of(method: str) -> tuple[str, ...]:
    """Keys of the works that describe a method.

    Examples
    --------
    >>> works_of("medi"), works_of("xqsmcropped")
    (('medi',), ('xqsm', 'coverage'))
    """
    return _SHARED.get(method, (method,) if method in WORKS else ())
